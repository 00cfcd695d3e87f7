"""The path of an image, whose id may be any text."""

from starlette.convertors import Convertor, register_url_convertor


class _Any(Convertor[str]):
    """Any text, also with a newline in it, which a file's name may have."""

    regex = r"[\s\S]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any", _Any())

IMAGE = "/v1/images/{image_id:any}"
