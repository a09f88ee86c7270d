"""IMS Gateway: typed, authorised, accounted calls to Intelligent Media Services."""
