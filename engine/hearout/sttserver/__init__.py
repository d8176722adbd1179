"""A local server that speaks the protocols of transcription providers.

`steps` says how a protocol asks for things; `deepgram` is Deepgram's first, `flux` its second, `soniox`, `openai`,
`assemblyai` and `elevenlabs` are those of these companies, and `protocols` has them by name. `recogniser` decodes with
Whisper, `script` plays traces instead, `server` serves connections, `command` is the command line, `local` starts it
all as a child process.
"""
