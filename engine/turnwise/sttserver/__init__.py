"""A local server that speaks the protocol of a transcription provider.

`steps` says how a protocol asks for things, `v1` is Deepgram's, `recogniser` owns PocketSphinx processes, `server`
the sockets, `local` starts it all as a child process.
"""
