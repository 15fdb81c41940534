"""Is the model that a server sent a trap? Pure checks on weights, with numpy alone.

One file a check, which says its statistic and what honest training does. `examination.examine` runs
all of them; `medleak.filters.adapters.Sentinel` does so before every task.
"""
