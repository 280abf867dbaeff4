"""What `scripts/benchmark.py` measures: one file per comparison, and what they share.

openspiel.py    stepping games, beside OpenSpiel            stepping.py     both of these
generals.py     stepping Generals, beside generals-bots     random_play.py  our side, what is compared first
self_play.py    training in a game, beside sb3-contrib      training.py     both of these
worlds.py       training in Gymnasium worlds, likewise      learners.py     both sides, and what is checked
cell.py         recurrent cells, beside torch's layers      memory.py       what a training takes
play.py         a policy in the loop                        floor.py        the matrix products alone
exploit.py      exploitability, beside OpenSpiel            plot.py         speeds over matches
options.py      what can be asked for
telling.py      turns, intervals, bars and goals, tables, the machine
"""
