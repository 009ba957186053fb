"""Where labelled images come from: one data set a file."""
