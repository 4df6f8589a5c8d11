"""Lists servers and watches one, knowing nothing but the address: every message comes from the server's reflection.

Usage: client.py HOST:PORT CA_FILE TOKEN_FILE SERVER
Prints one JSON object a line: first {"servers": [...]}, then three events of SERVER.
"""

import json
import sys

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def main():
    address, ca_file, token_file, server = sys.argv[1:]
    with open(ca_file, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    with open(token_file) as file:
        metadata = [("authorization", f"Bearer {file.read().strip()}")]
    with grpc.secure_channel(address, credentials) as channel:
        reflected = ProtoReflectionDescriptorDatabase(channel)
        assert "muster.v1.FleetService" in reflected.get_services(), reflected.get_services()
        pool = descriptor_pool.DescriptorPool(reflected)
        fleet = pool.FindServiceByName("muster.v1.FleetService")

        def method(name, kind):
            found = fleet.FindMethodByName(name)
            request, response = (message_factory.GetMessageClass(t) for t in (found.input_type, found.output_type))
            call = getattr(channel, kind)(
                f"/{fleet.full_name}/{name}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=response.FromString,
            )
            return lambda **fields: call(request(**fields), metadata=metadata, timeout=30)

        servers = method("ListServers", "unary_unary")()
        print(json.dumps(json_format.MessageToDict(servers)), flush=True)
        events = method("WatchServer", "unary_stream")(server=server, metrics=True)
        for _ in range(3):
            print(json.dumps(json_format.MessageToDict(next(events))), flush=True)
        events.cancel()


main()
