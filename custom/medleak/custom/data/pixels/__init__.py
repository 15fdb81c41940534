"""From a file to pixels: readers that say what a file holds, and one rule that shows it."""
