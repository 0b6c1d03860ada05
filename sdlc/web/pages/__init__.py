"""The pages that people see: HTML from templates, made of what the gateway knows."""
