"""Model objects of the frameworks: one file each, imported only where its library already is."""
