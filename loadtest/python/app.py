"""The users API of py-cachify's tutorial on FastAPI, with the command line and the counters of the other sample apps.

POST /users/, GET /users/{user_id}, PUT /users/{user_id}. A request with a cookie is answered past the cache, as it is by cachify's.
"""

import argparse
import asyncio
import os
import re
import socket
import sys
import threading
from contextlib import asynccontextmanager

import redis
import redis.asyncio
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from py_cachify import CachifyLockError, cached, init_cachify, lock, once
from pydantic import BaseModel
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import create_async_engine

parser = argparse.ArgumentParser()
for name, default in [
    ("listen", "127.0.0.1:0"),
    ("prefix", "users"),
    ("database", ""),
    ("delay", "0us"),
    ("lock-wait", "0us"),
]:
    parser.add_argument(f"--{name}", default=default)
arguments = parser.parse_args()


def seconds(duration: str) -> float:
    return int(re.fullmatch(r"(\d+)us", duration)[1]) / 1e6


DELAY, LOCK_WAIT = seconds(arguments.delay), seconds(arguments.lock_wait)
engine = create_async_engine(arguments.database.replace("sqlite://", "sqlite+aiosqlite:///"), pool_size=8)
counters = {"users_reads_total": 0, "users_writes_total": 0, "users_overlapping_updates_total": 0}
IN_PROGRESS = {"status": "Update in progress"}


@event.listens_for(engine.sync_engine, "connect")
def connected(connection, _):
    for pragma in ["journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=5000"]:
        connection.execute(f"PRAGMA {pragma}")


class NewUser(BaseModel):
    name: str
    email: str


@asynccontextmanager
async def lifespan(_):
    url = os.environ["CACHIFY_URL"]
    if url.startswith("redis"):
        init_cachify(
            sync_client=redis.from_url(url),
            async_client=redis.asyncio.from_url(url),
            prefix=arguments.prefix + "-",
            default_lock_expiration=30,
        )
    else:
        init_cachify(prefix=arguments.prefix + "-", default_lock_expiration=30)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.post("/users/", status_code=201)
async def create_user(new: NewUser):
    async with engine.begin() as connection:
        statement = text("INSERT INTO users (name, email) VALUES (:name, :email) RETURNING id")
        user_id = (await connection.execute(statement, new.model_dump())).scalar_one()
    counters["users_writes_total"] += 1
    return {"id": user_id, **new.model_dump()}


async def find_user(user_id: int):
    async with engine.connect() as connection:
        statement = text("SELECT name, email FROM users WHERE id = :id")
        row = (await connection.execute(statement, {"id": user_id})).first()
    counters["users_reads_total"] += 1
    if DELAY:
        await asyncio.sleep(DELAY)
    return row and {"id": user_id, "name": row.name, "email": row.email}


@cached(key="read_user-{user_id}", ttl=300)
async def read_user_cached(user_id: int):
    return await find_user(user_id)


@app.get("/users/{user_id}")
async def read_user(user_id: int, request: Request):
    read = find_user if "cookie" in request.headers else read_user_cached
    user = await read(user_id=user_id)
    if user is None:
        raise HTTPException(404)
    # As it is: checking a user against a model is not what is measured.
    return JSONResponse(user)


async def write_user(user_id: int, new: NewUser):
    values = {"id": user_id, **new.model_dump()}
    async with engine.connect() as connection:
        before = (
            await connection.execute(text("SELECT version FROM users WHERE id = :id"), values)
        ).scalar_one_or_none()
    if before is None:
        raise HTTPException(404)
    if DELAY:
        await asyncio.sleep(DELAY)
    async with engine.begin() as connection:
        statement = text(
            "UPDATE users SET name = :name, email = :email, version = version + 1 WHERE id = :id RETURNING version"
        )
        after = (await connection.execute(statement, values)).scalar_one()
    counters["users_writes_total"] += 1
    counters["users_overlapping_updates_total"] += after != before + 1
    await read_user_cached.reset(user_id=user_id)
    return JSONResponse(values)


@once(key="update-user-{user_id}", return_on_locked=JSONResponse(IN_PROGRESS, status_code=226))
async def update_user_once(user_id: int, new: NewUser):
    return await write_user(user_id, new)


@app.put("/users/{user_id}")
async def update_user(user_id: int, new: NewUser):
    if not LOCK_WAIT:
        return await update_user_once(user_id=user_id, new=new)
    try:
        async with lock(key=f"update-user-{user_id}", nowait=False, timeout=LOCK_WAIT):
            return await write_user(user_id, new)
    except CachifyLockError:
        return JSONResponse(IN_PROGRESS, status_code=226)


@app.get("/metrics")
async def metrics():
    return PlainTextResponse("".join(f"{name} {count}\n" for name, count in counters.items()))


def main():
    listener = socket.create_server(("127.0.0.1", int(arguments.listen.rsplit(":", 1)[1])), backlog=2048)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))

    def end_with_parent():
        sys.stdin.buffer.read()
        server.should_exit = True

    threading.Thread(target=end_with_parent, daemon=True).start()
    host, port = listener.getsockname()
    print(f"listening on http://{host}:{port}", flush=True)
    server.run(sockets=[listener])


if __name__ == "__main__":
    main()
