"""A seeded music world with known answers: the demo's sources, the tests' deliveries, the benchmarks' input.

parameters  sounds  randomness      what a world is made from
clock                               its days
catalogue  people                   what there is to hear, and who listens
listening  subscriptions            who plays what on a day; who pays, and who leaves
columns  reference  activity  business  money      the same as tables in the catalogue's columns
damage  world                       what is true, and what arrives: `World`
foreign  writing  server            the columns, files and pages of a tenant's sources: `write_sources`
answers                             the answer sheet: `answers`
"""

from nocturne.simulator.parameters import WorldParameters, demo_worlds
from nocturne.simulator.world import Delivery, World, small_world
from nocturne.simulator.writing import Written, write_demo_sources, write_sources

__all__ = ["Delivery", "World", "WorldParameters", "Written", "demo_worlds", "small_world", "write_demo_sources", "write_sources"]
