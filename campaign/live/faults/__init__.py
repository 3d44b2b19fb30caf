"""One fault type is one file here; the folder is the list.  ``campaign.live`` tells how to add one."""
