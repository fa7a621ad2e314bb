"""A floor in simulated time: the real engine, runner, gateway, desk and feed among simulated people and faults."""
