"""The client as an attacker re-enacts it: differentiable steps, and the labels they reveal."""
