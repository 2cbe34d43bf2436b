"""How long the package takes to import, and the command line to answer.

    python benchmarks/startup.py

Child processes, one of each in turn; medians and spreads in seconds. The peer is Captum's own
`import captum.attr`, which imports torch and Matplotlib.
"""

import argparse
import statistics
import subprocess
import sys
import time

CAPTUM = "import captum.attr"
HEAVY = ("torch", "torchvision", "scipy.stats", "torch._dynamo")
STARTS = {
    CAPTUM: ["-c", CAPTUM],
    "from captum_ssvep import FrequencyTaggingAttribution": [
        "-c",
        "from captum_ssvep import FrequencyTaggingAttribution",
    ],
    "captum-ssvep --help": ["-m", "captum_ssvep", "--help"],
    "captum-ssvep --version": ["-m", "captum_ssvep", "--version"],
    "python -c pass": ["-c", "pass"],
}


def seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def imported(statement: str) -> list[str]:
    """Which of the heavy modules a statement imports."""
    script = f"import sys\n{statement}\nprint(*[m for m in {HEAVY} if m in sys.modules])"
    command = [sys.executable, "-c", script]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    for arguments in STARTS.values():
        seconds(arguments)
    times: dict[str, list[float]] = {name: [] for name in STARTS}
    for _ in range(rounds):
        for name, arguments in STARTS.items():
            times[name].append(seconds(arguments))
    captum = statistics.median(times[CAPTUM])
    print(f"{'':<54} median   lowest  highest  / captum.attr")
    for name, found in times.items():
        middle = statistics.median(found)
        print(
            f"{name:<54} {middle:6.2f} {min(found):8.2f} {max(found):8.2f} {middle / captum:14.2f}"
        )
    for statement in (CAPTUM, "from captum_ssvep import FrequencyTaggingAttribution"):
        print(f"{statement}: imports {', '.join(imported(statement))}")
    print(f"import captum_ssvep.cli: imports {imported('import captum_ssvep.cli') or 'none of it'}")


if __name__ == "__main__":
    main()
