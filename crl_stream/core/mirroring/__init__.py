"""The labels of prompt stores as mirrors of the active variants, as pure functions.

refs    the prompt version that a variant's ref names
wants   where each label should be, or why a label cannot be mirrored
label   one step for one label: settle, move, ask, or leave it alone and alert
store   when people are told that a store does not answer
alerts  what the alerts of both have in common
"""
