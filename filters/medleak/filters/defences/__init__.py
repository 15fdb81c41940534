"""Defences: one file each, a frozen record that maps an update to a protected one."""
