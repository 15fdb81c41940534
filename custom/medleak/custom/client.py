"""Where the script of every job finds its client; the path is in users' files."""

from medleak.custom.training.client import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
