"""The labels of prompt stores as mirrors of the active variants, as pure functions.

refs    which version of which prompt a variant is
wants   what the topics want of each label, and why a label cannot be mirrored
label   one step for one label: settle, move, ask, or leave it alone and alert
store   when people are told that a store does not answer
alerts  what the alerts of both have in common
"""
