"""A seeded world that produces inputs: roads, stores, shoppers, drivers. Pure."""
