"""NuSeT: a U-Net whose encoder feeds a region proposal network, and a watershed from both."""
