"""A STAC API server as a process: ``serve ...`` is rustac's, ``CATALOG PORT`` is stac-fastapi's."""

import sys
import warnings

warnings.simplefilter("ignore")  # other people's deprecations


def main() -> None:
    """Serve until somebody ends it."""
    if sys.argv[1] == "serve":
        import rustac

        # It reads the words of the process by itself.
        sys.exit(rustac.main())
    import uvicorn
    from stac_fastapi.api.middleware import CORSMiddleware
    from stac_fastapi.static.api import Settings, make_api

    app = make_api(Settings(catalog_href=sys.argv[1])).app
    # For browsers only; and what stac-fastapi.api 5 tells it, recent starlettes misread.
    app.user_middleware = [m for m in app.user_middleware if m.cls is not CORSMiddleware]
    uvicorn.run(app, port=int(sys.argv[2]), log_level="warning")


if __name__ == "__main__":
    main()
