"""Client script of every job; the code is in the installed package medleak.custom."""

from medleak.custom.client import main

main()
