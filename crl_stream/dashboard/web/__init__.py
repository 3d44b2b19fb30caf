"""The dashboard in the browser: an aiohttp application without Faust, which a worker serves too.

routes        the addresses, and what every request must pass
access        who may look and who may act
doors         one-time tokens and sessions
limits        how often somebody may try something
answers       responses with the headers that protect them
own_rules     marks the handlers for which the gate of a worker does not count
documents     the pages as JSON
static_files  the style sheet and the scripts
orders        the commands of people, and the monitor's answer
hub           one consumer for everybody who looks
shared_pages  a page is rendered once for everybody who asks for it
stream        server-sent events to open pages
bodies        the body of a request
server        serves it without a worker
"""
