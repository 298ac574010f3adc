"""Bytes and places: opens bundles safely and says what each member is."""
