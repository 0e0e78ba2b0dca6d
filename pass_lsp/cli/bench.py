import typer
app = typer.Typer()
@app.command()
def decode() -> None: ...
