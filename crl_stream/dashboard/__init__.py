"""The guide's safety dashboard, as text and in the browser.

text    the page of ``crl.overview`` as text
fleet   what the topics say about the fleet, in bounded memory
newest  a collection that keeps its newest items
"""
