"""`ivif study table`: the tables that join what the runs of a study scored."""
