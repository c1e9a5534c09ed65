from .layerdata import layers_data as layers_data
from .layers import draw_layers as draw_layers
from .layers import plot_layers as plot_layers
