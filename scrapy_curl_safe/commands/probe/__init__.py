"""`scrapy curlsafe probe`: how many simultaneous handshakes an origin takes, and why some fail.

run          starts the workers and runs the steps, one after the other
plan         decides which step comes next (pure)
handshakes   makes the handshakes of a step
steps        measurements of the steps, and their statistics (pure)
verdict      decides what the measurements mean (pure)
output       prints the result
"""
