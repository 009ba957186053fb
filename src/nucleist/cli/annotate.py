"""`nucleist annotate`: outline nuclei in the browser, with a net that learns from them."""

from collections.abc import Sequence

from nucleist.cli.predict import number_or_word
from nucleist.cli.words import count, read, switch, text, wants_help

HELP = """usage: nucleist annotate FOLDER [model=MODEL] [key=value ...]

  nucleist annotate my_images
  nucleist annotate my_images model=runs/NAME/ID steps=300

Opens a page on this computer, in which nuclei of the images in FOLDER are outlined by clicking the
points of a closed curve. Train learns from what is outlined so far and proposes more, to be
accepted, corrected or rejected; what is not outlined stays unknown. Everything is saved at once,
beside each image, in a file that QuPath opens and nucleist train FOLDER learns from. H shows all
keys. Ctrl-C ends the server.

  model=MODEL      a run folder or a checkpoint that proposes nuclei now
  browser=false    only print the address
  port=N           on this computer; for another one: ssh -L N:127.0.0.1:N
  channel=N, z=N   as in nucleist predict
  ...              settings of nucleist train, for every training that the page starts

Needs: pip install 'nucleist[annotate]'
"""


def main(arguments: Sequence[str]) -> int:
    """Entry point of the verb."""
    if wants_help(arguments):
        print(HELP, end="")
        return 0
    words = read("annotate", arguments)
    words.no_place()
    own = words.take(
        model=text, browser=switch, port=count, channel=number_or_word, z=number_or_word
    )
    folder = words.one("folder")
    import nucleist
    from nucleist.progress import Console

    nucleist.annotate(folder, overrides=words.settings, progress=Console(), **own)
    return 0
