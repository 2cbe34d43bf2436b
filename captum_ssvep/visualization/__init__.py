"""What does it look like? Every function returns its figure and its axes.

Save a figure with ``figure.savefig``, as PNG, PDF or SVG. Notebooks show it at the end of the cell,
windows at ``plt.show()``. Where Matplotlib can only write files, as on a server, pyplot does not
keep it: nothing has to be closed.
"""

from .circuits import plot_circuit
from .interactions import plot_and_or, plot_corners, plot_interaction_matrix, plot_interactions
from .likeness import plot_likeness
from .maps import has_maps, plot_maps, to_map, to_pixels
from .pruning import plot_pruning_curves
from .scores import plot_components, plot_filters, plot_important, plot_top_images
from .spectra import plot_contrast_response, plot_contrasts, plot_neighbors, plot_spectrum
from .stimuli import plot_stimulus, save_stimulus_gif
from .whole import plot_whole_spectrum

__all__ = [
    "has_maps",
    "plot_and_or",
    "plot_circuit",
    "plot_components",
    "plot_contrast_response",
    "plot_contrasts",
    "plot_corners",
    "plot_filters",
    "plot_important",
    "plot_interaction_matrix",
    "plot_interactions",
    "plot_likeness",
    "plot_maps",
    "plot_neighbors",
    "plot_pruning_curves",
    "plot_spectrum",
    "plot_stimulus",
    "plot_top_images",
    "plot_whole_spectrum",
    "save_stimulus_gif",
    "to_map",
    "to_pixels",
]
