from fake_sglang import add_cli_args


class ServerArgs:
    add_cli_args = staticmethod(add_cli_args)
