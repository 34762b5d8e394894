"""How clients prove who they are, for authorization servers that keep them here."""
