"""A description so small that its card takes seconds."""

NETWORK = (
    "monai.networks.nets.ResNet:block=basic,layers=1|1|1|1,block_inplanes=8|8|8|8,spatial_dims=2,"
    "n_input_channels=1,conv1_t_size=3,conv1_t_stride=1,no_max_pool=true,num_classes=2"
)
SMALL = {"name": "a trial", "network": NETWORK, "input": "16x16x1", "sites": 2, "seconds": 1}
