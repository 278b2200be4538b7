"""Study whether S²VC does on the controlled set what the paper says, and which of its parts matter."""
