"""The fault types, one file each; the folder is the list.  ``campaign.live`` explains how to add one."""
