"""Who should carry what: candidates, costs, previews. Pure, like the core it stands on."""
