"""The guide's safety dashboard, as text and in the browser.

entries      what the guide's five sections say, for the text and for the pages
text         the page of ``crl.overview`` as text
task_states  the state of a task in words, for crl status and for the pages
findings     what is not working, in the words of crl status
fleet        what the topics say about the fleet, in bounded memory
newest       a collection that keeps its newest items
pages        the fleet as HTML, from the templates
web          serves the pages, says what changes and takes orders

``templates`` and ``static`` (style sheet, script, chart library) are files that the pages are made of.
"""
