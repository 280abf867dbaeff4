"""What `scripts/benchmark.py` measures: one file per comparison, and what they share.

openspiel.py    stepping games, beside OpenSpiel            stepping.py   both of these
generals.py     stepping Generals, beside generals-bots     play.py       our side, and what is compared first
self_play.py    training in a game, beside sb3-contrib      training.py   both of these
worlds.py       training in Gymnasium worlds, likewise      learners.py   both sides, and what is checked
options.py      what can be asked for
telling.py      turns, spreads, tables, the machine
"""
