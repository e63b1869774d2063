"""The demo as a server of the Model Context Protocol, called by its client."""

import asyncio
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the demo's packages are not installed")
pytest.importorskip("mcp", reason="mcp is not installed")

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from mcp.types import CallToolResult, ListToolsResult
from support.local_server import PATIENCE
from support.space_server import client_of

HEADER = "wine review : italy : tuscany : riesling :"


async def ask(address: str, name: str = "", **arguments: Any) -> Any:  # noqa: ANN401 - of either kind
    """Call a tool, or list them all."""
    async with (
        streamablehttp_client(f"{address}/gradio_api/mcp/", timeout=PATIENCE) as (incoming, outgoing, _),
        ClientSession(incoming, outgoing) as session,
    ):
        await session.initialize()
        return await session.call_tool(name, arguments) if name else await session.list_tools()


def call(address: str, name: str, **arguments: Any) -> tuple[bool, str]:  # noqa: ANN401
    """Return whether a tool failed, and what it says."""
    result: CallToolResult = asyncio.run(ask(address, name, **arguments))
    return bool(result.isError), result.content[0].text


def test_its_tools_are_the_functions_of_the_api(demo_address: str) -> None:
    listed: ListToolsResult = asyncio.run(ask(demo_address))
    tools = {tool.name: tool for tool in listed.tools}
    assert list(tools) == ["generate", "next_words", "attention"]
    assert tools["generate"].description.startswith("Write a review.")
    fields = tools["next_words"].inputSchema["properties"]
    assert list(fields) == ["text", "temperature", "count", "model"]
    assert fields["count"] == {"type": "integer", "description": "How many words, from 1 to 50.", "default": 10}


def test_tools_answer_what_the_api_answers(demo_address: str) -> None:
    client = client_of(demo_address)
    written = client.predict(HEADER, seed=7, model="riesling", api_name="/generate")
    assert call(demo_address, "generate", prompt=HEADER, seed=7, model="riesling") == (False, written)
    words = client.predict("wine review", count=3, api_name="/next_words")
    assert call(demo_address, "next_words", text="wine review", count=3) == (False, str(words))
    shown = client.predict("wine review :", layer=0, head=1, api_name="/attention")
    assert call(demo_address, "attention", text="wine review :", layer=0, head=1) == (False, str(shown))


def test_invalid_arguments_of_a_tool_are_reported(demo_address: str) -> None:
    assert call(demo_address, "generate", temperature=99) == (True, "temperature: must be a number from 0.1 to 2")
