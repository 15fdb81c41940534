"""Would our configuration leak? A page from a short description, before any federation starts.

>>> from medleak.inversion.card.config import CardConfig
>>> CardConfig.model_validate(
...     {"name": "ours", "network": "medleak.custom.networks.resnet18:num_classes=2"}
... ).batch_size
1

`medleak.inversion.card.config` reads the description, `simulate` trains its clients on phantoms,
`examine` tries what an attacker would, and `page` writes down what came of it.
"""
