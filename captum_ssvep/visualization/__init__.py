"""What does it look like?"""

from .maps import to_map, to_pixels
from .scores import plot_components, plot_filters, plot_important, plot_top_images
from .spectra import (
    plot_contrast_response,
    plot_neighbours,
    plot_spectrum,
    plot_stimulus,
    save_stimulus_gif,
)

__all__ = [
    "plot_components",
    "plot_contrast_response",
    "plot_filters",
    "plot_important",
    "plot_neighbours",
    "plot_spectrum",
    "plot_stimulus",
    "plot_top_images",
    "save_stimulus_gif",
    "to_map",
    "to_pixels",
]
