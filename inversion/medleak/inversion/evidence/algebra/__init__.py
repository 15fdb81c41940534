"""Linear algebra on a layer's update: row spaces, rows, and the features behind them."""
