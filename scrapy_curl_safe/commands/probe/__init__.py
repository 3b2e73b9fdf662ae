"""`scrapy curlsafe probe`: how many handshakes at once an origin takes, and why some fail.

run          starts the workers, and makes one step after the other
plan         decides which step comes next (pure)
handshakes   makes the handshakes of a step
steps        what a step measured, and the statistics of it (pure)
verdict      decides what it all means (pure)
output       prints it
"""
