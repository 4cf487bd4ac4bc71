import pytest
from hypothesis import given
from hypothesis import strategies as st

from airtunnel.wire.postgres import Startup, Unsupported, encode_startup, rewrite_startup
from airtunnel.wire.postgres.rewrite import ALLOWED


def rewritten(
    parameters: dict[str, str], user: str = "at_e_1", database: str | None = None, name: str = "airtunnel"
) -> dict[str, str]:
    startup = Startup({"user": "ana"} | parameters)
    return dict(rewrite_startup(startup, user=user, database=database, application_name=name).parameters)


def split_opts(options: str) -> list[str]:
    """How the server splits options: pg_split_opts of src/backend/utils/init/postinit.c, said again in Python."""
    words, at = [], 0
    while at < len(options):
        while at < len(options) and options[at] in " \t\n\v\f\r":
            at += 1
        if at == len(options):
            break
        word, escaped = "", False
        while at < len(options):
            if options[at] in " \t\n\v\f\r" and not escaped:
                break
            if options[at] == "\\" and not escaped:
                escaped = True
            else:
                word, escaped = word + options[at], False
            at += 1
        words.append(word)
    return words


def test_the_target_is_told_the_lease_user_and_our_name() -> None:
    told = rewritten({"database": "sales", "application_name": "psql"}, name="airtunnel:dag/task/run")
    assert told == {"user": "at_e_1", "database": "sales", "application_name": "airtunnel:dag/task/run"}


def test_a_fixed_database_wins_and_the_clients_user_names_its_own_otherwise() -> None:
    assert rewritten({"database": "sales"}, database="fixed")["database"] == "fixed"
    assert rewritten({})["database"] == "ana"


def test_the_application_name_is_cut_between_characters_and_cleaned() -> None:
    assert rewritten({}, name="x" + "é" * 60)["application_name"] == "x" + "é" * 31
    assert rewritten({}, name="a\0b\x1bc")["application_name"] == "a b c"
    assert rewritten({}, name="\ud800")["application_name"] in ("", "?")


@pytest.mark.parametrize("name", [*sorted(ALLOWED), "DateStyle", "TimeZone", "IntervalStyle", "SEARCH_PATH"])
def test_an_allowed_setting_passes_in_both_ways(name: str) -> None:
    assert rewritten({name: "v"})[name] == "v"
    assert rewritten({"options": f"-c {name}=v"})["options"] == f"-c {name}=v"


@pytest.mark.parametrize(
    "name",
    [
        "role",
        "ROLE",
        "session_authorization",
        "replication",
        "Replication",
        "session_preload_libraries",
        "log_statement",
        "application name",
        "_pq_.x",
        "",
        "search_path ",
        "loc\u212a_timeout",  # the Kelvin sign: a "k" in lower case
    ],
)
def test_any_other_setting_is_refused_in_both_ways(name: str) -> None:
    with pytest.raises(Unsupported, match="may not be set"):
        rewritten({name: "v"})
    with pytest.raises(Unsupported):
        rewritten({"options": f"-c {name}=v"})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("-c geqo=off", "-c geqo=off"),
        ("-cgeqo=off", "-c geqo=off"),
        ("--geqo=off", "-c geqo=off"),
        ("--lock-timeout=5s", "-c lock_timeout=5s"),
        ("  -c   geqo=off   -c jit=on ", "-c geqo=off -c jit=on"),
        (r"-c search_path=a,\ b", r"-c search_path=a,\ b"),
        (r"-c search_path=a\\b", r"-c search_path=a\\b"),
        (r"-c search_path=a\b", "-c search_path=ab"),
        (r"-c\ geqo=off", None),
        (r"-c search_path=x\ -c\ role=y", r"-c search_path=x\ -c\ role=y"),
        ("-c search_path=", "-c search_path="),
        ("", ""),
        ("   ", ""),
    ],
)
def test_options_are_told_in_one_form(options: str, told: str | None) -> None:
    if told is None:
        with pytest.raises(Unsupported):
            rewritten({"options": options})
    else:
        assert rewritten({"options": options}).get("options", "") == told


@pytest.mark.parametrize(
    "options",
    [
        "-c role=postgres",
        "-crole=postgres",
        "--role=postgres",
        "-c geqo=off -c role=postgres",
        r"-c ro\le=postgres",
        r"\-crole=postgres",
        "-c search_path=x\t-c role=y",
        "-c search_path=x\n-crole=y",
        "-c session-authorization=x",
        "-c",
        "-c geqo",
        "-e",
        "-d 5",
        "-W 10",
        "-s",
        "geqo=off",
        "-xgeqo=off",
        "xxgeqo=off",
        "-ec role=x",
        "-- role=x",
        "-c -c role=x",
        # The second byte of "à" in UTF-8 is 0xA0: a space, where the server's locale is Latin-1.
        "-c search_path=\u00e0-crole=postgres",
    ],
)
def test_options_do_not_carry_anything_else(options: str) -> None:
    with pytest.raises(Unsupported):
        rewritten({"options": options})


@given(st.text("-c \\=roleq_gp\t'\"xà", max_size=60))
def test_the_server_reads_from_options_only_what_was_allowed(options: str) -> None:
    try:
        told = rewritten({"options": options}).get("options", "")
    except Unsupported:
        return
    words = split_opts(told)
    assert words[::2] == ["-c"] * (len(words) // 2)
    assert all(word.partition("=")[0].lower() in ALLOWED for word in words[1::2])


@given(st.lists(st.tuples(st.sampled_from(sorted(ALLOWED)), st.text(st.characters(min_codepoint=32, max_codepoint=126)))))
def test_an_allowed_setting_reaches_the_server_with_its_value(settings: list[tuple[str, str]]) -> None:
    escaped = [value.replace("\\", "\\\\").replace(" ", "\\ ") for _, value in settings]
    options = " ".join(f"-c {name}={value}" for (name, _), value in zip(settings, escaped, strict=True))
    told = split_opts(rewritten({"options": options}).get("options", ""))
    assert told == [word for name, value in settings for word in ("-c", f"{name}={value}")]


def test_a_search_path_reaches_only_the_clients_own_session() -> None:
    # CVE-2025-12819: PgBouncer ran its own SQL under the client's search_path. Ours goes into the client's session alone.
    assert rewritten({"search_path": "evil, pg_catalog"})["search_path"] == "evil, pg_catalog"


def test_the_clients_own_name_is_nowhere_in_what_the_target_is_told() -> None:
    startup = Startup({"user": "ana@example.com", "application_name": "secret-tool"})
    told = encode_startup(rewrite_startup(startup, user="at_e_1", database="sales", application_name="airtunnel"))
    assert b"ana" not in told
    assert b"secret-tool" not in told
