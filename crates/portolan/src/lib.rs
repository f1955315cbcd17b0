//! Chat, files and audio over any transport: the table of transports, and the programs.
