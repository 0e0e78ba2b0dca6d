"""The engine for many: HTTP on one machine, Ray Serve on several. Nothing of it is imported by an editor's process."""
