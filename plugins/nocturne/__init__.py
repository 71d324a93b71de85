"""Nocturne: nightly analytics for music streaming, many tenants on one installation."""
