"""The signed call to Intelligent Media Services, and what every answer to it means.

Start reading at `client`; `errors` says what a failed call tells about the job.
"""
