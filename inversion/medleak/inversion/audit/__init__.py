"""An audit: every combination of update, attack, defence, knowledge and seed."""
