"""Typed configuration: the only source of defaults, validation, the commented file, the schema and the flags."""
